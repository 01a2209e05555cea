//! Kubernetes events: what people see with `kubectl describe`.

use actpass_crds::resource::API_VERSION;
use actpass_kubernetes::who::BoundPod;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::object::Object;

/// Events that wait for the API server; more are dropped, since a log line says each too.
const WAITING: usize = 256;

/// The longest note of an event.
const NOTE_BYTES_MAX: usize = 1_000;

/// What an event is about.
#[derive(Clone, Debug)]
pub struct Regarding(ObjectReference);

/// Where events are told.
#[derive(Clone, Debug)]
pub struct Events(mpsc::Sender<(Regarding, Event)>);

impl Regarding {
    /// A resource of ours.
    pub fn object(object: &Object) -> Self {
        Self(ObjectReference {
            api_version: Some(API_VERSION.to_owned()),
            kind: Some(object.id.kind.to_string()),
            name: Some(object.id.name.clone()),
            namespace: object.id.namespace.clone(),
            uid: Some(object.uid.clone()),
            ..ObjectReference::default()
        })
    }

    /// A pod.
    pub fn pod(pod: &BoundPod) -> Self {
        Self(ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            name: Some(pod.name.clone()),
            namespace: Some(pod.namespace.clone()),
            uid: Some(pod.uid.clone()),
            ..ObjectReference::default()
        })
    }
}

impl Events {
    /// Events from this process, which `instance` names. The task ends when nobody tells any more.
    pub fn new(client: Client, instance: String) -> (Self, JoinHandle<()>) {
        let (sender, mut waiting) = mpsc::channel::<(Regarding, Event)>(WAITING);
        let reporter = Reporter {
            controller: "actpass-controller".to_owned(),
            instance: Some(instance),
        };
        let recorder = Recorder::new(client, reporter);
        let telling = tokio::spawn(async move {
            while let Some((Regarding(object), event)) = waiting.recv().await {
                if let Err(error) = recorder.publish(&event, &object).await {
                    tracing::warn!(%error, reason = event.reason, "Event not told");
                }
            }
        });
        (Self(sender), telling)
    }

    /// Something that people should look at. The same again is counted.
    pub fn warn(&self, regarding: Regarding, reason: &str, note: &str) {
        self.tell(EventType::Warning, regarding, reason, note);
    }

    /// Something that went as it should, and that people may look for.
    pub fn note(&self, regarding: Regarding, reason: &str, note: &str) {
        self.tell(EventType::Normal, regarding, reason, note);
    }

    fn tell(&self, type_: EventType, regarding: Regarding, reason: &str, note: &str) {
        let note: String = match note.len() <= NOTE_BYTES_MAX {
            true => note.to_owned(),
            false => note.chars().take(NOTE_BYTES_MAX / 4).collect(),
        };
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(note),
            action: reason.to_owned(),
            secondary: None,
        };
        if self.0.try_send((regarding, event)).is_err() {
            tracing::debug!(reason, "An event is dropped: too many wait");
        }
    }
}
