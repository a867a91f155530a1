"""What was worked out of a spec, kept in the user's cache folder for the next process."""
