//! One object, as it stands now and whenever it changes.

use std::fmt::Debug;

use futures_util::StreamExt;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::watch_object;
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// An object by name; it is `None` while it does not exist, or before the first answer of the API server.
///
/// Where the API server is away, what was seen last stays.
#[derive(Debug)]
pub struct Watched<K> {
    /// As it stands now.
    pub current: watch::Receiver<Option<K>>,
    /// Ends once nobody looks any more. Whoever watches awaits it, or drops it with the process.
    pub watching: JoinHandle<()>,
}

/// Watches `name`. The right to `get`, `list` and `watch` that one name is enough.
pub fn watch<K>(api: Api<K>, name: &str) -> Watched<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    let (sender, current) = watch::channel(None);
    let name = name.to_owned();
    let watching = tokio::spawn(async move {
        let mut seen = watch_object(api, &name).default_backoff().boxed();
        loop {
            let event = tokio::select! {
                event = seen.next() => event,
                () = sender.closed() => return,
            };
            match event {
                Some(Ok(object)) => {
                    sender.send_replace(object);
                }
                Some(Err(error)) => {
                    tracing::warn!(%error, name, "The API server does not show an object; asking again");
                }
                None => return,
            }
        }
    });
    Watched { current, watching }
}
