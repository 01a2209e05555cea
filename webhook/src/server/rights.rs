//! What a pod's account may do that reaches around a fence (V18), asked at most once a minute per account.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use actpass_kubernetes::who::{Right, Who, may_in};
use actpass_kubernetes::{Client, Error};

/// Pods of one account come in numbers: a rollout asks once.
const KEPT: Duration = Duration::from_secs(60);

/// Most accounts remembered, some 100 bytes each.
const ACCOUNTS_MAX: usize = 4_096;

/// What is asked for: verb and resource. Debug containers are added by an update.
pub const RIGHTS: [(&str, &str); 3] = [
    ("create", "pods"),
    ("create", "pods/exec"),
    ("update", "pods/ephemeralcontainers"),
];

/// Answers of the last minute.
#[derive(Debug, Default)]
pub(super) struct Rights {
    known: Mutex<HashMap<Account, Known>>,
}

/// Namespace and name of a ServiceAccount.
type Account = (String, String);

/// When it was asked, and what the account has.
type Known = (Instant, Vec<String>);

impl Rights {
    /// Which of the rights the account has, as `create pods/exec`.
    pub(super) async fn of(
        &self,
        client: &Client,
        namespace: &str,
        account: &str,
    ) -> Result<Vec<String>, Error> {
        let key = (namespace.to_owned(), account.to_owned());
        if let Some(known) = self.known(&key) {
            return Ok(known);
        }
        let who = Who {
            user: format!("system:serviceaccount:{namespace}:{account}"),
            uid: None,
            groups: vec![
                "system:serviceaccounts".to_owned(),
                format!("system:serviceaccounts:{namespace}"),
                "system:authenticated".to_owned(),
            ],
            extra: std::collections::BTreeMap::new(),
        };
        let asked = RIGHTS.map(|(verb, resource)| {
            let right = Right {
                verb,
                resource,
                namespace,
                name: None,
            };
            let (client, who) = (client, &who);
            async move {
                let may = may_in(client, who, "", right).await?;
                Ok::<_, Error>(may.then(|| format!("{verb} {resource}")))
            }
        });
        let answers = futures_util::future::try_join_all(asked).await?;
        let found: Vec<String> = answers.into_iter().flatten().collect();
        self.keep(key, found.clone());
        Ok(found)
    }

    fn known(&self, key: &Account) -> Option<Vec<String>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, found) = known.get(key)?;
        (at.elapsed() < KEPT).then(|| found.clone())
    }

    fn keep(&self, key: Account, found: Vec<String>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= ACCOUNTS_MAX {
            known.clear();
        }
        known.insert(key, (Instant::now(), found));
    }
}
