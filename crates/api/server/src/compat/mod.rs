//! Differences of old API versions: one file per version that is the last to behave so.
//!
//! Handlers and conversions know only the newest version. What an older client sends is brought up to
//! date here before, and what it gets is brought back here after.

mod answer;
mod request;
mod v1_24;
mod v1_27;
mod v1_38;
mod v1_39;
mod v1_40;
mod v1_41;
mod v1_42;
mod v1_43;
mod v1_44;
mod v1_45;
mod v1_47;
mod v1_48;
mod v1_49;
mod v1_50;
mod version;

pub(crate) use answer::{
    container_inspect, container_list, disk_usage, image_inspect, image_list, info, shows_event,
};
pub(crate) use request::{create, exec_console_size, update};
pub(crate) use v1_27::{lists_containers, websocket_text};
pub(crate) use v1_40::{has_image_filter, has_platform_and_one_shot};
pub(crate) use v1_41::{
    announces_frames, ignores_usage_types, prunes_named_volumes, stop_takes_signal,
    websocket_streams,
};
pub(crate) use v1_45::push_takes_platform;
pub(crate) use v1_47::images_take_platform;
pub(crate) use v1_49::delete_takes_platforms;
pub(crate) use version::{API_VERSION, ApiVersion, MIN_API_VERSION, served};

#[cfg(test)]
mod tests;
