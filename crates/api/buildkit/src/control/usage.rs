//! What the cache takes, and how it is given back.

use std::collections::BTreeMap;
use std::time::Duration;

use arca_build::{CacheItem, PruneRequest};
use tonic::Status;

use crate::service::Service;
use crate::{api, convert, error};

pub(crate) async fn usage(
    service: &Service,
    request: &api::DiskUsageRequest,
) -> Result<api::DiskUsageResponse, Status> {
    let filters = filters(&request.filter)?;
    let items = service
        .builder
        .usage()
        .await
        .map_err(|e| error::status(&e))?;
    let wanted = items.iter().filter(|item| matches(item, &filters));
    Ok(api::DiskUsageResponse {
        record: wanted.map(record).collect(),
    })
}

pub(crate) async fn prune(
    service: &Service,
    request: api::PruneRequest,
) -> Result<Vec<api::UsageRecord>, Status> {
    let api::PruneRequest {
        filter,
        all,
        keep_duration,
        reserved_space,
        max_used_space,
        min_free_space,
    } = request;
    let bytes = |number: i64| u64::try_from(number).unwrap_or(0);
    let request = PruneRequest {
        all,
        filters: filters(&filter)?,
        keep_duration: (keep_duration > 0).then(|| Duration::from_nanos(bytes(keep_duration))),
        reserved_space: bytes(reserved_space),
        max_used_space: bytes(max_used_space),
        min_free_space: bytes(min_free_space),
    };
    let pruned = service.builder.prune(&request).await;
    let pruned = pruned.map_err(|e| error::status(&e))?;
    Ok(pruned.items.iter().map(record).collect())
}

/// Reads containerd's filter language as far as clients of builds use it: `type==exec.cachemount`,
/// `id~=…` and several of them with commas.
fn filters(texts: &[String]) -> Result<BTreeMap<String, Vec<String>>, Status> {
    let mut filters: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let texts = texts.iter().flat_map(|text| text.split(','));
    for text in texts.filter(|text| !text.is_empty()) {
        let (key, value) = text
            .split_once("==")
            .or_else(|| text.split_once("~="))
            .or_else(|| text.split_once('='))
            .ok_or_else(|| Status::invalid_argument(format!("invalid filter {text:?}")))?;
        filters
            .entry(key.trim().to_owned())
            .or_default()
            .push(value.trim_matches('"').to_owned());
    }
    Ok(filters)
}

fn matches(item: &CacheItem, filters: &BTreeMap<String, Vec<String>>) -> bool {
    filters.iter().all(|(key, values)| {
        values.iter().any(|value| match key.as_str() {
            "id" => item.id.starts_with(value.as_str()),
            "type" => item.kind == *value,
            "description" => item.description.contains(value.as_str()),
            "inuse" => item.in_use == (value == "true"),
            "shared" => item.shared == (value == "true"),
            "private" => item.shared != (value == "true"),
            _ => false,
        })
    })
}

fn record(item: &CacheItem) -> api::UsageRecord {
    let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    api::UsageRecord {
        id: item.id.clone(),
        mutable: matches!(item.kind.as_str(), "exec.cachemount" | "source.local"),
        in_use: item.in_use,
        size: number(item.size),
        created_at: Some(convert::time(item.created)),
        last_used_at: (item.uses > 0).then(|| convert::time(item.last_used)),
        usage_count: number(item.uses),
        description: item.description.clone(),
        record_type: item.kind.clone(),
        shared: item.shared,
        ..api::UsageRecord::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_of_clients_are_read() {
        let read = filters(&["type==exec.cachemount,inuse==false".to_owned()]).unwrap();
        assert_eq!(read["type"], ["exec.cachemount"]);
        assert_eq!(read["inuse"], ["false"]);
        assert!(filters(&["nonsense".to_owned()]).is_err());
    }
}
