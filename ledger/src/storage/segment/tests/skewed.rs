//! A reader beside a writer, whose read shows an earlier page as it was before a later one.

use std::sync::atomic::AtomicU32;

use super::*;
use crate::storage::io::IoFile;

/// Shows the first page of each segment late by one append, once, as two reads of a page cache can.
struct Skewed {
    now: Disk,
    before: Disk,
    looks: Arc<AtomicU32>,
}

struct SkewedFile {
    now: Box<dyn IoFile>,
    before: Box<dyn IoFile>,
    looks: Arc<AtomicU32>,
}

impl Io for Skewed {
    fn make_dir(&self, path: &Path) -> io::Result<()> {
        self.now.make_dir(path)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.now.list(dir)
    }
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn IoFile>> {
        Ok(Box::new(SkewedFile {
            now: self.now.open(path, access)?,
            before: self.before.open(path, access)?,
            looks: self.looks.clone(),
        }))
    }
    fn create(&self, path: &Path) -> io::Result<Box<dyn IoFile>> {
        self.now.create(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.now.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.now.remove(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.now.sync_dir(path)
    }
    fn lock(&self, path: &Path) -> Result<Box<dyn Send>, StorageError> {
        self.now.lock(path)
    }
}

impl IoFile for SkewedFile {
    fn size(&self) -> io::Result<u64> {
        self.now.size()
    }
    fn pread(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.now.pread(buffer, offset)?;
        if buffer.len() > 4096 && self.looks.fetch_add(1, Ordering::Relaxed) == 0 {
            self.before.pread(&mut buffer[..4096], offset)?;
        }
        Ok(())
    }
    fn pwrite(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.now.pwrite(bytes, offset)
    }
    fn allocate(&self, size: u64) -> io::Result<()> {
        self.now.allocate(size)
    }
    fn resize(&self, size: u64) -> io::Result<()> {
        self.now.resize(size)
    }
    fn fdatasync(&self) -> io::Result<()> {
        self.now.fdatasync()
    }
}

#[test]
fn a_read_that_is_no_snapshot_is_taken_again() {
    let disk = Disk::default();
    let mut storage = open(&disk).unwrap();
    let leaf = |storage: &SegmentStorage, bytes| vec![leaf_group(storage, "a", &vec![b'x'; bytes])];
    storage.append(&leaf(&storage, 3000)).unwrap();
    let before = disk.copy();
    // The second group ends before the page does, the third lies across its end.
    storage.append(&leaf(&storage, 300)).unwrap();
    storage.append(&leaf(&storage, 900)).unwrap();
    storage.append(&leaf(&storage, 900)).unwrap();
    let skewed = Arc::new(Skewed {
        now: disk,
        before,
        looks: Arc::default(),
    });
    let mut reader = SegmentReader::open_on(skewed.clone(), &dir()).unwrap();
    let checked = reader.check().unwrap();
    assert_eq!((checked.groups, checked.tail), (4, Tail::Clean));
    assert!(skewed.looks.load(Ordering::Relaxed) > 1);
}
