"""One message's whole story: grant, attempt, classification, outcome."""
