"""Results as a person reads them. Knows verdicts and files, never a cluster."""
