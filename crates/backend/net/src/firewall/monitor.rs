//! Notices when something outside changes our table, and writes it again.

use std::sync::Arc;

use super::Firewall;
use super::table::{NEWGEN, concerns};
use crate::error::Error;
use crate::netlink::Socket;
use crate::netlink::watch::{Watch, drain};
use crate::repair::{Repair, Reports};

/// The mask of the multicast group of nf_tables (`NFNLGRP_NFTABLES`, 7).
const GROUP: u32 = 1 << 6;

/// Watches the firewall until what is returned is dropped.
///
/// # Errors
/// When the kernel's notifications cannot be had.
pub(crate) fn watch(firewall: Arc<Firewall>, reports: Reports) -> Result<Watch, Error> {
    let failed = || Error::system("watch the firewall");
    let socket = Socket::notifications(GROUP).map_err(failed())?;
    let own = firewall.port().map_err(failed())?;
    let notified = move |socket: &mut Socket| {
        let (mut ours, mut any) = (false, false);
        let table = firewall.table();
        let read = drain(socket, |message| {
            any |= message.port != own;
            ours |=
                message.port != own && message.kind != NEWGEN && concerns(message.payload, table);
        });
        match read {
            // Notifications were lost: one may have been about us.
            Ok(lost) if ours || lost => repair(&firewall, &reports),
            Ok(_) if any => {
                if let Err(error) = firewall.forget_admissions() {
                    tracing::warn!(error = arca_types::chain(&error), "admissions stay");
                }
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "cannot read a change of the firewall"),
        }
        None
    };
    Watch::start("firewall", socket, notified).map_err(failed())
}

fn repair(firewall: &Firewall, reports: &Reports) {
    match firewall.repair() {
        Ok(true) => {
            let table = firewall.table();
            tracing::warn!("the firewall table was changed from outside: written again");
            reports.tell(Repair {
                network: None,
                what: format!("the nftables table inet {table} was changed"),
            });
        }
        Ok(false) => {}
        Err(error) => tracing::error!(
            error = arca_types::chain(&error),
            "the firewall table was changed from outside and cannot be written again"
        ),
    }
}
