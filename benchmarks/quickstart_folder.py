"""Where a quickstart has its tuned model in coord tokens, and its held-out pictures."""

MODEL = "runs/new-looks/1920/coord-tokens/seed-0/merged"
HELDOUT = "data/new-looks/1920/seed-0/heldout.jsonl"
