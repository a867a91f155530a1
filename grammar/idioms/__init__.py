"""What people write in other languages and tools, and what one writes here."""
