//! One connection, and every call on it with an end.
//!
//! The connection is driven by a thread of its own, so that whoever calls may be in a runtime or not; the caller waits for it, at most
//! [`CALL_MAX`]. A connection that fails or is late is dropped: the next call makes a new one.

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use tokio_postgres::error::{DbError, Severity, SqlState};
use tokio_postgres::{AsyncMessage, Client, Error, Statement};

use super::StorageError;
use super::checks::Settings;
use super::config::{PostgresConfig, refused};
use super::schema;

/// How long a call may take. The server ends a statement before, so that what it answers is known; a commit it does not end.
const CALL_MAX: Duration = Duration::from_secs(10);

pub(super) struct Link {
    /// None only while it is dropped.
    runtime: Option<Runtime>,
    config: PostgresConfig,
    session: Option<Arc<Session>>,
    connections: u64,
    /// Which database cluster it is, once known.
    system: Option<i64>,
}

/// A connection whose server was found fit.
pub(super) struct Session {
    pub(super) client: Client,
    pub(super) append: Statement,
    pub(super) append_one: Statement,
    pub(super) moved: Statement,
    pub(super) tail: Statement,
    pub(super) turn: Statement,
    /// Which of the link's connections it is.
    pub(super) number: u64,
    warned: Arc<AtomicBool>,
    driver: JoinHandle<()>,
}

/// Why a call has no result.
#[derive(Debug)]
pub(super) enum Failed {
    /// The server says no, and nothing was done.
    Refused(Box<DbError>),
    /// It cannot be known whether anything was done.
    Unknown(String),
}

impl Failed {
    pub(super) fn code(&self) -> Option<&SqlState> {
        match self {
            Self::Refused(error) => Some(error.code()),
            Self::Unknown(_) => None,
        }
    }
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(error) => {
                write!(f, "{} (SQLSTATE {})", error.message(), error.code().code())
            }
            Self::Unknown(what) => f.write_str(what),
        }
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        match error.as_db_error() {
            // After anything worse the server ends the connection, maybe after its commit.
            Some(refused) if refused.parsed_severity() == Some(Severity::Error) => {
                Self::Refused(Box::new(refused.clone()))
            }
            Some(ended) => Self::Unknown(ended.message().to_owned()),
            None => Self::Unknown(chain(&error)),
        }
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let causes: Vec<String> = causes.map(ToString::to_string).collect();
    causes.join(": ")
}

impl Link {
    pub(super) fn new(config: PostgresConfig) -> Result<Self, StorageError> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("postgres")
            .enable_all()
            .build();
        Ok(Self {
            runtime: Some(runtime.map_err(|error| unavailable(&error))?),
            config,
            session: None,
            connections: 0,
            system: None,
        })
    }

    pub(super) fn config(&self) -> &PostgresConfig {
        &self.config
    }

    /// The connection.
    pub(super) fn session(&mut self) -> Result<Arc<Session>, StorageError> {
        if let Some(session) = self.connected() {
            return Ok(session);
        }
        self.drop_session();
        let connected = self.wait(connect(self.config.clone()));
        let (session, settings) = connected.map_err(|error| unavailable(&error))?;
        // Once in use it may be a standby for a while, or set wrong: nothing is kept there until that is over.
        let known = self.system.is_some();
        settings.check().map_err(|error| match known {
            true => unavailable(&error),
            false => error,
        })?;
        if *self.system.get_or_insert(settings.system) != settings.system {
            return Err(refused(
                "it is another database cluster than at the start, so its logs are others; put back the one that was"
                    .to_owned(),
            ));
        }
        let level = settings.commit_level().to_owned();
        self.connections = self.connections.saturating_add(1);
        let number = self.connections;
        let ready = self.wait(async move { session.make_ready(number, &level).await });
        let session = Arc::new(match ready {
            Ok(Ok(session)) => session,
            Ok(Err(error)) => return Err(error),
            Err(failed) => return Err(unavailable(&failed)),
        });
        self.session = Some(session.clone());
        Ok(session)
    }

    /// The connection, where there is one.
    pub(super) fn connected(&self) -> Option<Arc<Session>> {
        self.session.clone().filter(|it| !it.client.is_closed())
    }

    /// The result of a call on the session; where it does not come, the session is dropped.
    pub(super) fn call<T: Send + 'static>(
        &mut self,
        call: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Failed> {
        let result = self.wait(async move { call.await.map_err(Failed::from) });
        // One that may not write has become a standby.
        let useless = match &result {
            Ok(_) => false,
            Err(Failed::Unknown(_)) => true,
            Err(refused) => refused.code() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION),
        };
        if useless {
            self.drop_session();
        }
        result
    }

    pub(super) fn drop_session(&mut self) {
        if let Some(session) = self.session.take() {
            session.driver.abort();
        }
    }

    /// Waits for what is done on the connection's thread.
    fn wait<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Failed>> + Send + 'static,
    ) -> Result<T, Failed> {
        let ended = || Failed::Unknown("its thread has ended".to_owned());
        let (done, result) = std::sync::mpsc::sync_channel(1);
        let runtime = self.runtime.as_ref().ok_or_else(ended)?;
        runtime.spawn(async move {
            // Who asked waits for exactly this.
            drop(done.send(tokio::time::timeout(CALL_MAX, work).await));
        });
        match result.recv() {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(Failed::Unknown(format!(
                "no answer within {} seconds",
                CALL_MAX.as_secs()
            ))),
            Err(_) => Err(ended()),
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.drop_session();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A connection that nothing was checked on.
struct Connected {
    client: Client,
    warned: Arc<AtomicBool>,
    driver: JoinHandle<()>,
}

async fn connect(config: PostgresConfig) -> Result<(Connected, Settings), Failed> {
    let (client, mut connection) = config.server.connect(config.tls).await?;
    let warned = Arc::new(AtomicBool::new(false));
    let warns = warned.clone();
    let driver = tokio::spawn(async move {
        while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
            if let AsyncMessage::Notice(notice) = message {
                tracing::warn!(
                    message = notice.message(),
                    detail = notice.detail(),
                    "PostgreSQL warns"
                );
                warns.store(true, Ordering::SeqCst);
            }
        }
    });
    let connected = Connected {
        client,
        warned,
        driver,
    };
    let row = connected.client.query_one(schema::SETTINGS, &[]).await?;
    Ok((connected, Settings::of(&row)?))
}

impl Connected {
    /// Settings, tables, statements.
    async fn make_ready(
        self,
        number: u64,
        level: &str,
    ) -> Result<Result<Session, StorageError>, Failed> {
        let Self {
            client,
            warned,
            driver,
        } = self;
        client.batch_execute(schema::SESSION).await?;
        let level = format!("SET synchronous_commit = {level}");
        client.batch_execute(&level).await?;
        if !client
            .query_one(schema::IS_MADE, &[])
            .await?
            .try_get::<_, bool>(0)?
        {
            client.batch_execute(schema::MAKE).await?;
        }
        let forms = client.query(schema::FORM, &[]).await?;
        let forms: Vec<i32> = forms
            .iter()
            .map(|row| row.try_get(0))
            .collect::<Result<_, _>>()?;
        if forms != [schema::VERSION] {
            return Ok(Err(refused(format!(
                "its tables are of form {forms:?} and this program writes form {}; run the program that made them",
                schema::VERSION
            ))));
        }
        // What it warned of before is not about what is committed.
        warned.store(false, Ordering::SeqCst);
        client.query_one(schema::SETTLE, &[]).await?;
        let (append, append_one, moved, tail, turn) = (
            client.prepare(schema::APPEND).await?,
            client.prepare(schema::APPEND_ONE).await?,
            client.prepare(schema::MOVED).await?,
            client.prepare(schema::TAIL).await?,
            client.prepare(schema::TURN).await?,
        );
        let session = Session {
            client,
            append,
            append_one,
            moved,
            tail,
            turn,
            number,
            warned,
            driver,
        };
        match session.take_warning() {
            false => Ok(Ok(session)),
            true => Err(Failed::Unknown(
                "what was committed last may not have reached its standby".to_owned(),
            )),
        }
    }
}

impl Session {
    /// Whether the server warned since this was asked last: of a commit that may be on no standby, for example.
    pub(super) fn take_warning(&self) -> bool {
        self.warned.swap(false, Ordering::SeqCst)
    }
}

/// It can be asked again; of what was asked nothing was done, or nothing that matters.
pub(super) fn unavailable(why: &dyn std::fmt::Display) -> StorageError {
    StorageError::Unavailable {
        what: why.to_string(),
    }
}
