//! Who was late on a log that others append to as well.

use std::sync::mpsc::{Receiver, Sender, channel};

use super::*;

/// How often a turn was asked for, and whether one is open.
#[derive(Default)]
struct Asked {
    turns: usize,
    open: bool,
}

/// Says when an append begins, and waits until it may.
struct Gate {
    begun: Sender<()>,
    go: Receiver<()>,
}

/// Storage whose next append can be held up.
struct Held {
    inner: MemoryStorage,
    asked: Arc<Mutex<Asked>>,
    gate: Arc<Mutex<Option<Gate>>>,
}

impl Storage for Held {
    fn append(&mut self, groups: &[LogGroup]) -> Result<Vec<Appended>, StorageError> {
        let gate = self.gate.lock().unwrap().take();
        if let Some(gate) = gate {
            gate.begun.send(()).unwrap();
            gate.go.recv().unwrap();
        }
        self.asked.lock().unwrap().open = false;
        self.inner.append(groups)
    }
    fn replay(
        &mut self,
        visit: &mut dyn FnMut(Entry<'_>) -> std::ops::ControlFlow<()>,
    ) -> Result<(), StorageError> {
        self.inner.replay(visit)
    }
    fn tail(
        &mut self,
        log: &str,
        from: u64,
        visit: &mut dyn FnMut(Entry<'_>) -> std::ops::ControlFlow<()>,
    ) -> Result<(), StorageError> {
        self.inner.tail(log, from, visit)
    }
    fn is_shared(&self) -> bool {
        true
    }
    fn moved(&mut self) -> Result<Vec<(String, Head)>, StorageError> {
        self.inner.moved()
    }
    fn take_turn(&mut self, logs: &BTreeSet<String>) {
        assert!(logs.contains(ORIGIN));
        let mut asked = self.asked.lock().unwrap();
        asked.turns += 1;
        asked.open = true;
    }
    fn end_turn(&mut self) {
        self.asked.lock().unwrap().open = false;
    }
    fn blob(&self, name: &[u8; 32]) -> Result<Option<Vec<u8>>, StorageError> {
        self.inner.blob(name)
    }
    fn logs(&self) -> Vec<(String, Head)> {
        self.inner.logs()
    }
    fn head(&self, log: &str) -> Head {
        self.inner.head(log)
    }
}

#[tokio::test]
async fn who_was_late_has_the_next_turn_and_gives_it_up_where_nobody_else_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let disk = MemoryDisk::default();
    let (asked, gate) = (Arc::<Mutex<Asked>>::default(), Arc::default());
    let held = Held {
        inner: MemoryStorage::shared(disk.clone()),
        asked: asked.clone(),
        gate: Arc::clone(&gate),
    };
    let ledger = Arc::new(engine(dir.path(), Box::new(held)).unwrap());
    let other = shared(dir.path(), &disk);
    ledger.make_log(ORIGIN, BTreeMap::new()).await.unwrap();
    note(&ledger, 0).await.unwrap();
    assert_eq!(asked.lock().unwrap().turns, 0, "nobody was late yet");

    let ((begun, has_begun), (go, may_go)) = (channel(), channel());
    *gate.lock().unwrap() = Some(Gate { begun, go: may_go });
    let late = tokio::spawn({
        let ledger = ledger.clone();
        async move { note(&ledger, 1).await }
    });
    tokio::task::spawn_blocking(move || has_begun.recv().unwrap())
        .await
        .unwrap();
    note(&other, 2).await.unwrap();
    go.send(()).unwrap();
    late.await.unwrap().unwrap();
    assert_eq!(asked.lock().unwrap().turns, 1);

    for nth in 3..6 {
        note(&ledger, nth).await.unwrap();
    }
    {
        let asked = asked.lock().unwrap();
        assert_eq!(asked.turns, 1, "alone, nobody is waited for");
        assert!(!asked.open);
    }
    assert_eq!(leaves(&disk).len(), 7);
    other.join();
    Arc::into_inner(ledger).unwrap().join();
}
