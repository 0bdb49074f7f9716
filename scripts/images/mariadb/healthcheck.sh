#!/bin/sh
# Whether the database takes the user's connections over the network. The official image's options are accepted.
password=${MARIADB_PASSWORD:-}
[ -z "${MARIADB_PASSWORD_FILE:-}" ] || password=$(cat "$MARIADB_PASSWORD_FILE")
MYSQL_PWD=$password exec mariadb --protocol=tcp -h 127.0.0.1 -u "$MARIADB_USER" -e 'SELECT 1' >/dev/null
