"""What is more than one query to rows: totals kept over resets, logs, backups, audits."""
