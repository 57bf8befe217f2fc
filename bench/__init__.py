"""What a scrape costs, ours and the existing exporter's, alternating in one run so that ratios mean something."""
