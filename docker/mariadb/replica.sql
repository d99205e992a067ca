-- Run on each replica, as administrator; replication then starts with START REPLICA, and by itself
-- whenever the server starts.
--
--   @primary_host, @primary_port, @replication_password

EXECUTE IMMEDIATE CONCAT(
    'CHANGE MASTER TO'
    '  MASTER_HOST = ', QUOTE(@primary_host),
    ', MASTER_PORT = ', CAST(@primary_port AS UNSIGNED),
    ', MASTER_USER = ''replication'''
    ', MASTER_PASSWORD = ', QUOTE(@replication_password),
    ', MASTER_USE_GTID = slave_pos'
    -- Seconds: a replica notices within one that the primary is back, and is not made to lag.
    ', MASTER_CONNECT_RETRY = 1'
    ', MASTER_HEARTBEAT_PERIOD = 1'
    ', MASTER_DELAY = 0');
