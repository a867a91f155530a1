"""What building carries along, and values between syntax and graph."""
