#!/bin/sh
# Makes the database at the first start, from the official image's variables: MARIADB_ROOT_PASSWORD or
# MARIADB_RANDOM_ROOT_PASSWORD, MARIADB_DATABASE, MARIADB_USER, MARIADB_PASSWORD, or NAME_FILE for each.
set -eu

value() { # value NAME
  eval "file=\${MARIADB_$1_FILE:-} text=\${MARIADB_$1:-}"
  [ -z "$file" ] || text=$(cat "$file")
  printf %s "$text" | sed "s/[\\\\']/\\\\&/g"
}

chown mysql:mysql /var/lib/mysql /run/mysqld
if [ "$1" = mariadbd ] && [ ! -e /var/lib/mysql/ready ]; then
  root=$(value ROOT_PASSWORD) user=$(value USER) database=$(value DATABASE)
  if [ -n "${MARIADB_RANDOM_ROOT_PASSWORD:-}" ]; then
    root=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
    echo "GENERATED ROOT PASSWORD: $root"
  fi
  [ -n "$root" ] || { echo "MARIADB_ROOT_PASSWORD is not set" >&2; exit 1; }
  # What an interrupted first start left is not a database.
  find /var/lib/mysql -mindepth 1 -delete
  mariadb-install-db --user=mysql --datadir=/var/lib/mysql --auth-root-authentication-method=normal --skip-test-db >/dev/null
  {
    echo "FLUSH PRIVILEGES;"
    [ -z "$database" ] || echo "CREATE DATABASE \`$database\`;"
    [ -z "$user" ] || echo "CREATE USER '$user'@'%' IDENTIFIED BY '$(value PASSWORD)';"
    [ -z "$user" ] || [ -z "$database" ] || echo "GRANT ALL ON \`$database\`.* TO '$user'@'%';"
    echo "CREATE USER 'root'@'%' IDENTIFIED BY '$root';"
    echo "GRANT ALL ON *.* TO 'root'@'%' WITH GRANT OPTION;"
    echo "ALTER USER 'root'@'localhost' IDENTIFIED BY '$root';"
  } | mariadbd --bootstrap --user=mysql --datadir=/var/lib/mysql
  touch /var/lib/mysql/ready
fi
exec "$@"
