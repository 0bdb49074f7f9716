//! `/swarm`, `/nodes`, `/services`, `/tasks`, `/secrets`, `/configs`: the answers of an engine that is
//! not in a swarm.

mod answers;

use answers::{
    bad_config_version, bad_node_version, bad_secret_version, bad_service_version,
    bad_swarm_version, no_cluster_volumes, no_stream, no_swarm_mode, not_manager, not_part,
};

pub(crate) use answers::no_manager;

use crate::routes::{Support::*, routes};

routes! {
    GET "/swarm" "SwarmInspect" not_manager, NoSwarm;
    POST "/swarm/init" "SwarmInit" no_swarm_mode, Refused;
    POST "/swarm/join" "SwarmJoin" no_swarm_mode, Refused;
    POST "/swarm/leave" "SwarmLeave" not_part, NoSwarm;
    POST "/swarm/update" "SwarmUpdate" bad_swarm_version, NoSwarm;
    GET "/swarm/unlockkey" "SwarmUnlockkey" not_manager, NoSwarm;
    POST "/swarm/unlock" "SwarmUnlock" not_manager, NoSwarm;
    GET "/nodes" "NodeList" not_manager, NoSwarm;
    GET "/nodes/{id}" "NodeInspect" not_manager, NoSwarm;
    DELETE "/nodes/{id}" "NodeDelete" not_manager, NoSwarm;
    POST "/nodes/{id}/update" "NodeUpdate" bad_node_version, NoSwarm;
    GET "/services" "ServiceList" not_manager, NoSwarm;
    POST "/services/create" "ServiceCreate" not_manager, NoSwarm;
    GET "/services/{id}" "ServiceInspect" not_manager, NoSwarm;
    DELETE "/services/{id}" "ServiceDelete" not_manager, NoSwarm;
    POST "/services/{id}/update" "ServiceUpdate" bad_service_version, NoSwarm;
    GET "/services/{id}/logs" "ServiceLogs" no_stream, NoSwarm;
    GET "/tasks" "TaskList" not_manager, NoSwarm;
    GET "/tasks/{id}" "TaskInspect" not_manager, NoSwarm;
    GET "/tasks/{id}/logs" "TaskLogs" no_stream, NoSwarm;
    GET "/secrets" "SecretList" not_manager, NoSwarm;
    POST "/secrets/create" "SecretCreate" not_manager, NoSwarm;
    GET "/secrets/{id}" "SecretInspect" not_manager, NoSwarm;
    DELETE "/secrets/{id}" "SecretDelete" not_manager, NoSwarm;
    POST "/secrets/{id}/update" "SecretUpdate" bad_secret_version, NoSwarm;
    GET "/configs" "ConfigList" not_manager, NoSwarm;
    POST "/configs/create" "ConfigCreate" not_manager, NoSwarm;
    GET "/configs/{id}" "ConfigInspect" not_manager, NoSwarm;
    DELETE "/configs/{id}" "ConfigDelete" not_manager, NoSwarm;
    POST "/configs/{id}/update" "ConfigUpdate" bad_config_version, NoSwarm;
    PUT "/volumes/{name}" "VolumeUpdate" no_cluster_volumes, NoSwarm;
}
