"""What is true of every session of ours."""

# One session for scrapes, one for the background, one for samples.
CONNECTION_LIMIT = 3
# The default schema of our sessions on MySQL: every account may use it, and nobody can drop it. The digests of
# statements are by default schema, and hardly anybody else has this one.
OWN_SCHEMA = "information_schema"
# The name that we logged in with, as MySQL's SQL: it may itself have an @.
OUR_USER = "LEFT(USER(), CHAR_LENGTH(USER()) - LOCATE('@', REVERSE(USER())))"
