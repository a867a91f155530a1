"""What was applied to what while a spec was read, noted where a picture asks for it."""
