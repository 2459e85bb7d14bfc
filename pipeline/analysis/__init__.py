"""What the stored runs of a study say: its arms, their statistics, verdicts and words. No figures, no files."""
