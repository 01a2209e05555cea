//! Passing leaves on from logs that several ledgers have open: by one of them at a time, from where the last one was.

use std::sync::Arc;

use super::{Head, StorageError};

/// A connection on which leaves are read to be passed on.
///
/// # Guarantees
/// - Of all who ask, one has the lead. It ends with the connection: at once where the process ends, and where nothing was asked on it for
///   ten seconds. What [`Lead::settle`] and [`Lead::keep`] answer is answered to who has it.
/// - Two who both believe that they have it do no harm: the cursor is moved by compare-and-swap, from where its mover saw it.
pub trait Lead: Send {
    /// The number of this term, which is another one whenever the lead was lost in between; none where another ledger has it.
    ///
    /// # Errors
    /// Where it cannot be told now; as of all that follows.
    fn take(&mut self) -> Result<Option<u64>, StorageError>;

    /// The logs that end elsewhere than when this was asked last, and where.
    ///
    /// # Errors
    /// As there.
    fn moved(&mut self) -> Result<Vec<(String, Head)>, StorageError>;

    /// Shows some leaves of a log, from that index on or a little before; whether there may be more.
    ///
    /// # Errors
    /// As there, and [`StorageError::DamagedRow`].
    fn leaves(
        &mut self,
        log: &str,
        from: u64,
        visit: &mut dyn FnMut(u64, &[u8]),
    ) -> Result<bool, StorageError>;

    /// Waits until all that was read in this term is as durable as what is answered.
    ///
    /// # Errors
    /// Where that is not known, or the term is over.
    fn settle(&mut self) -> Result<(), StorageError>;

    /// What is kept of how far leaves were passed on, with its version; none where nothing is.
    ///
    /// # Errors
    /// As there.
    fn kept(&mut self) -> Result<Option<(u64, Vec<u8>)>, StorageError>;

    /// The version of that alone.
    ///
    /// # Errors
    /// As there.
    fn kept_version(&mut self) -> Result<Option<u64>, StorageError>;

    /// Keeps this in place of what has that version, and says its own.
    ///
    /// # Errors
    /// Where it is not known to be kept, another version is there, or the term is over.
    fn keep(&mut self, known: Option<u64>, bytes: &[u8]) -> Result<u64, StorageError>;
}

/// Opens a connection of one's own, without asking for the lead.
pub type LeadOpener = Arc<dyn Fn() -> Result<Box<dyn Lead>, StorageError> + Send + Sync>;
