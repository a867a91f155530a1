"""What a run takes in memory, worked out from its plan and the headers of its data."""
