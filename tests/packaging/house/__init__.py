"""What the tests of the house rules share."""
