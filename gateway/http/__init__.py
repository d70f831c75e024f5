"""HTTP in, HTTP out: what the enforcement points share. The judge stands below and knows nothing of it."""
