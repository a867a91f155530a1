"""Where a build is, what it builds, and values between syntax and graph."""
