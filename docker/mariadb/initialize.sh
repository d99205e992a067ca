# Sourced by the MariaDB image's entrypoint when the data folder is new; not executable, because
# it needs the entrypoint's functions. Runs replica.sql where PRIMARY_HOST is set, and primary.sql
# otherwise, with the variables that they ask for taken from the environment.

assign() {
    printf "SET @%s = '%s';\n" "$1" "$(docker_sql_escape_string_literal "$2")"
}

(
    assign replication_password "${REPLICATION_PASSWORD:?is not set}"
    if [ -n "${PRIMARY_HOST:-}" ]; then
        assign primary_host "$PRIMARY_HOST"
        assign primary_port "${PRIMARY_PORT:-3306}"
        cat "${RWROUTER_SQL:-/rwrouter}/replica.sql"
    else
        assign app_database "${APP_DATABASE:?is not set}"
        assign app_user "${APP_USER:?is not set}"
        assign app_password "${APP_PASSWORD:?is not set}"
        cat "${RWROUTER_SQL:-/rwrouter}/primary.sql"
    fi
) | docker_process_sql --default-character-set=utf8mb4
