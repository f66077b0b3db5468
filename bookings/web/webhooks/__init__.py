"""What the gateway tells us: customers' replies and delivery receipts, over HTTP."""
