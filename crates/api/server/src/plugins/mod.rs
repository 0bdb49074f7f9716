//! `/plugins`: the answers of an engine that has no managed plugins and cannot install any.

mod answers;

use answers::{install, list, not_found, privileges};

use crate::routes::{Support::*, routes};

routes! {
    GET "/plugins" "PluginList" list, NoPlugins;
    GET "/plugins/privileges" "GetPluginPrivileges" privileges, Refused;
    POST "/plugins/pull" "PluginPull" install, Refused;
    POST "/plugins/create" "PluginCreate" install, Refused;
    GET "/plugins/{name}/json" "PluginInspect" not_found, NoPlugins;
    DELETE "/plugins/{name}" "PluginDelete" not_found, NoPlugins;
    POST "/plugins/{name}/enable" "PluginEnable" not_found, NoPlugins;
    POST "/plugins/{name}/disable" "PluginDisable" not_found, NoPlugins;
    POST "/plugins/{name}/upgrade" "PluginUpgrade" not_found, NoPlugins;
    POST "/plugins/{name}/push" "PluginPush" not_found, NoPlugins;
    POST "/plugins/{name}/set" "PluginSet" not_found, NoPlugins;
}
