//! Values of a Secret that one part makes at its first start and every replica finds.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use kube::{Api, Client};

use crate::Error;

/// How often a value is looked for again after another replica was quicker.
const TRIES: u32 = 8;

/// One Secret. It exists before the part starts, so that the part needs no right to make Secrets.
#[derive(Clone)]
pub struct Kept {
    api: Api<Secret>,
    name: String,
}

impl Kept {
    /// The Secret `name` in `namespace`.
    pub fn new(client: Client, namespace: &str, name: &str) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            name: name.to_owned(),
        }
    }

    /// The value under `key`, if there is one.
    ///
    /// # Errors
    /// The Secret is not there, or the API server does not answer.
    pub async fn load(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        let secret = self.get().await?;
        let found = secret.data.as_ref().and_then(|data| data.get(key));
        Ok(found.map(|ByteString(bytes)| bytes.clone()))
    }

    /// The value under `key`, made by `make` where there is none. Of several replicas that start at once, one's counts.
    /// Whether it was made here is said with it.
    ///
    /// # Errors
    /// As [`Kept::load`], or where `make` fails.
    pub async fn load_or_make<E: std::fmt::Display>(
        &self,
        key: &str,
        make: impl FnOnce() -> Result<Vec<u8>, E>,
    ) -> Result<(Vec<u8>, bool), Error> {
        if let Some(found) = self.load(key).await? {
            return Ok((found, false));
        }
        let made = make().map_err(|error| self.content(format!("`{key}` not made: {error}")))?;
        let kept = self
            .change(|secret| {
                let data = secret.data.get_or_insert_default();
                let kept = data.entry(key.to_owned());
                kept.or_insert_with(|| ByteString(made.clone())).0.clone()
            })
            .await?;
        let ours = kept == made;
        Ok((kept, ours))
    }

    /// Replaces all values.
    ///
    /// # Errors
    /// As [`Kept::load`].
    pub async fn replace(&self, values: &[(&str, Vec<u8>)]) -> Result<(), Error> {
        self.change(|secret| {
            let values = values.iter();
            let data = values.map(|(key, value)| ((*key).to_owned(), ByteString(value.clone())));
            secret.data = Some(data.collect());
        })
        .await
    }

    /// Sets these values, if `key` still has the value `expected`; whether it had.
    ///
    /// # Errors
    /// As [`Kept::load`].
    pub async fn exchange(
        &self,
        key: &str,
        expected: &[u8],
        values: &[(&str, Vec<u8>)],
    ) -> Result<bool, Error> {
        self.change(|secret| {
            let data = secret.data.get_or_insert_default();
            let same = data
                .get(key)
                .is_some_and(|ByteString(bytes)| bytes == expected);
            if same {
                let values = values.iter();
                data.extend(
                    values.map(|(key, value)| ((*key).to_owned(), ByteString(value.clone()))),
                );
            }
            same
        })
        .await
    }

    /// Replaces one value by what `change` makes of it as it then stands; what it is afterwards.
    ///
    /// # Errors
    /// As [`Kept::load`], or where `change` fails.
    pub async fn update(
        &self,
        key: &str,
        mut change: impl FnMut(Option<&[u8]>) -> Result<Vec<u8>, String>,
    ) -> Result<Vec<u8>, Error> {
        let changed = self.change(|secret| {
            let data = secret.data.get_or_insert_default();
            let before = data.get(key).map(|ByteString(bytes)| bytes.as_slice());
            let after = change(before)?;
            data.insert(key.to_owned(), ByteString(after.clone()));
            Ok(after)
        });
        let changed: Result<_, String> = changed.await?;
        changed.map_err(|why| self.content(format!("`{key}`: {why}")))
    }

    /// Changes the Secret as it then stands: what others change in between is not lost.
    async fn change<T>(&self, mut change: impl FnMut(&mut Secret) -> T) -> Result<T, Error> {
        for _ in 0..TRIES {
            let mut secret = self.get().await?;
            let before = secret.clone();
            let value = change(&mut secret);
            if secret == before {
                return Ok(value);
            }
            let written = self
                .api
                .replace(&self.name, &PostParams::default(), &secret)
                .await;
            match written {
                Ok(_) => return Ok(value),
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                Err(error) => return Err(Error::api(format!("write {}", self.what()))(error)),
            }
        }
        Err(self.content("it changes all the time".to_owned()))
    }

    async fn get(&self) -> Result<Secret, Error> {
        let found = self.api.get(&self.name).await;
        found.map_err(Error::api(format!("read {}", self.what())))
    }

    fn what(&self) -> String {
        format!("Secret `{}`", self.name)
    }

    pub(crate) fn content(&self, why: String) -> Error {
        Error::Content {
            what: self.what(),
            why,
        }
    }
}
