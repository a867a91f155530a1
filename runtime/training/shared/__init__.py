"""What several ranks of one training do together: sums dealt out, signals and time agreed on."""
