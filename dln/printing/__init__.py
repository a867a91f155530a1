"""What is printed and drawn: results, messages, progress, pictures."""
