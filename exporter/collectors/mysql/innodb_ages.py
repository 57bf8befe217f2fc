"""SQL for how long ago InnoDB says that something began."""


def age(column: str) -> str:
    """Whole seconds since a time of INNODB_TRX, NULL if that is NULL.

    InnoDB tells times in the time zone of the machine, whatever that of the session is. Now is converted to that zone,
    not the column from it: in the hour that clocks go through twice a local time is two moments, and all would seem an
    hour older, or not begun yet. What lasts over that change is still an hour off, but never less than nothing.
    """
    return f"GREATEST(TIMESTAMPDIFF(SECOND, {column}, CONVERT_TZ(UTC_TIMESTAMP(), '+00:00', 'SYSTEM')), 0)"
