"""What runs take in memory, foreseen and measured: specs that take much in one way each."""
