//! The last version that says `<unknown>` for what it does not know.

use arca_wire::system::Info;

pub(super) fn info(info: &mut Info) {
    for field in [&mut info.kernel_version, &mut info.operating_system] {
        if field.is_empty() {
            "<unknown>".clone_into(field);
        }
    }
}
