#!/bin/sh
# Puts WordPress into its directory at the first start, as the official image does.
set -eu
if [ ! -e /var/www/html/wp-settings.php ]; then
  cp -R /usr/src/wordpress/. /var/www/html/
  chown -R www-data:www-data /var/www/html
fi
exec "$@"
