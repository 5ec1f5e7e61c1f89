#!/bin/sh
# Stands in for the image postgres:18, where no registry has it: the embedded PostgreSQL's programs,
# with the variables and folders of that image that the compose file uses.
set -eu
if [ "$#" != 0 ]; then exec "$@"; fi

data=/var/lib/postgresql/data
owned() { setpriv --reuid=nobody --regid=nogroup --clear-groups "$@"; }

if [ ! -d "$data" ]; then
    install --directory --owner=nobody --group=nogroup --mode=700 "$data"
    (umask 077 && printf %s "$POSTGRES_PASSWORD" >/tmp/password && chown nobody /tmp/password)
    owned initdb --pgdata="$data" --username="$POSTGRES_USER" --pwfile=/tmp/password \
        --auth-local=trust --auth-host=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8 >/dev/null
    rm /tmp/password
    owned pg_ctl --pgdata="$data" --wait --silent start \
        --options="-c listen_addresses='' -c unix_socket_directories=/tmp" >/dev/null
    psql --host=/tmp --username="$POSTGRES_USER" --dbname=postgres --no-psqlrc \
        --command="CREATE DATABASE \"$POSTGRES_DB\""
    for script in /docker-entrypoint-initdb.d/*.sql; do
        psql --host=/tmp --username="$POSTGRES_USER" --dbname="$POSTGRES_DB" --no-psqlrc \
            --set=ON_ERROR_STOP=1 --file="$script"
    done
    owned pg_ctl --pgdata="$data" --wait --silent --mode=fast stop
fi
exec setpriv --reuid=nobody --regid=nogroup --clear-groups \
    postgres -D "$data" -c listen_addresses='*' -c unix_socket_directories=/tmp
