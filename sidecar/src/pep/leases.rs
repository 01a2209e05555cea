//! Read credentials, leased from the ledger for a while and kept in memory only.

use std::collections::BTreeMap;
use std::sync::Arc;

use actpass_core::host::HostName;
use actpass_core::upstream::{Effect, Upstream};
use actpass_core::wire::LeaseRequest;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Mutex;

use crate::credential::Credential;
use crate::ledger_client::LedgerClient;

/// A lease is renewed this long before it ends.
const RENEW_BEFORE: SignedDuration = SignedDuration::from_secs(60);

/// Most leases kept: one per upstream and host.
const LEASES_MAX: usize = 256;

pub(super) struct Leases {
    client: Arc<LedgerClient>,
    held: Mutex<BTreeMap<(String, String, u16), Held>>,
}

struct Held {
    credential: Credential,
    expires: Timestamp,
}

impl Leases {
    pub(super) fn new(client: Arc<LedgerClient>) -> Self {
        Self {
            client,
            held: Mutex::new(BTreeMap::new()),
        }
    }

    /// The read credential for this host; `None` where the upstream declares none. The error is the reason as a
    /// sentence.
    pub(super) async fn credential(
        &self,
        upstream: &Upstream,
        host: &HostName,
        port: u16,
    ) -> Result<Option<Credential>, String> {
        let Some(wanted) = upstream.credential_for(Effect::Read) else {
            return Ok(None);
        };
        let key = (upstream.name.clone(), host.to_string(), port);
        let now = Timestamp::now();
        let mut held = self.held.lock().await;
        if let Some(fresh) = held
            .get(&key)
            .filter(|held| now + RENEW_BEFORE < held.expires)
        {
            return Ok(Some(fresh.credential.clone()));
        }
        let request = LeaseRequest {
            upstream: upstream.name.clone(),
            host: host.to_string(),
            port,
        };
        let lease = match self.client.lease(&request).await {
            Ok(lease) => lease,
            // A lease that still runs is good while the ledger is away.
            Err(error) => {
                return match held.get(&key).filter(|held| now < held.expires) {
                    Some(old) => Ok(Some(old.credential.clone())),
                    None => Err(format!("Denied: {error}.")),
                };
            }
        };
        let credential = Credential::new(&wanted.header, &wanted.format, &lease.secret)
            .map_err(|error| format!("Denied: credential `{}` {error}.", wanted.name))?;
        if held.len() >= LEASES_MAX {
            held.retain(|_, held| now < held.expires);
        }
        if held.len() < LEASES_MAX {
            held.insert(
                key,
                Held {
                    credential: credential.clone(),
                    expires: lease.expires,
                },
            );
        }
        Ok(Some(credential))
    }
}
