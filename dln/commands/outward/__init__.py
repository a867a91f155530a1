"""Commands that write what is used without dln."""
