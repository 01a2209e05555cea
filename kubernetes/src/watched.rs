//! One object, as it stands now and whenever it changes.

use std::fmt::Debug;

use futures_util::StreamExt;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// For how long the API server is asked to keep one watch. It is asked again then: so a connection that was cut without a word
/// shows nothing for half a minute at most.
pub const SECONDS: u32 = 25;

/// How everything is watched.
pub fn config() -> watcher::Config {
    watcher::Config::default().timeout(SECONDS)
}

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
        let config = config().fields(&format!("metadata.name={name}"));
        let mut seen = watcher(api, config).default_backoff().boxed();
        let mut listed = None;
        loop {
            let event = tokio::select! {
                event = seen.next() => event,
                () = sender.closed() => return,
            };
            match event {
                Some(Ok(Event::Init)) => listed = None,
                Some(Ok(Event::InitApply(object))) => listed = Some(object),
                Some(Ok(Event::InitDone)) => {
                    sender.send_replace(listed.take());
                }
                Some(Ok(Event::Apply(object))) => {
                    sender.send_replace(Some(object));
                }
                Some(Ok(Event::Delete(_))) => {
                    sender.send_replace(None);
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

/// Tells `now`, where that is news.
pub fn tell<T: PartialEq>(sender: &watch::Sender<T>, now: T) -> bool {
    sender.send_if_modified(|before| {
        let changed = *before != now;
        *before = now;
        changed
    })
}
