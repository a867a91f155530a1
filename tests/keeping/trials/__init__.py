"""What may befall a run: signals, a kill, a full disk, damage to its files."""
