"""Campaigns attack the promises of the product with many random attempts and real processes. See README.md."""
