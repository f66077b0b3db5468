"""The gateway's webhooks: customers' replies and delivery receipts."""
