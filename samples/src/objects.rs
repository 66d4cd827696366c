//! Places of objects by their addresses: folders, and buckets of S3 or other stores.

mod crypto;
mod folder;
mod https;

use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt as _;
use kcl::BoxError;
use object_store::{
    Error, ObjectStore, ObjectStoreExt as _, PutMode, PutPayload,
    aws::{AmazonS3, AmazonS3Builder},
    path::Path,
};

use self::{crypto::Ring, folder::Folder, https::Https};

/// A place of objects. Clones are the same.
#[derive(Debug, Clone)]
pub struct Objects(Arc<Place>);

#[derive(Debug)]
enum Place {
    Folder(Folder),
    /// A store, and the path below which it is used.
    Store(Box<dyn ObjectStore>, Path),
}

impl Objects {
    /// A store of the application's own, used below a path.
    pub fn new(store: impl ObjectStore, prefix: impl Into<Path>) -> Self {
        Self(Arc::new(Place::Store(Box::new(store), prefix.into())))
    }

    /// Opens `s3://bucket/path`, by region, endpoint and credentials of the environment (`AWS_REGION`,
    /// `AWS_ENDPOINT_URL_S3` and so on) or the role of the host; else a folder, which is made unless it is there. An
    /// object in a folder is on the disk before it counts.
    ///
    /// # Errors
    /// The address is not one of these, or the folder cannot be made.
    pub fn open(address: &str) -> Result<Self, BoxError> {
        if let Some(place) = address.strip_prefix("s3://") {
            let (bucket, path) = place.split_once('/').unwrap_or((place, ""));
            return Ok(Self::new(s3(bucket)?, Path::parse(path)?));
        }
        if address.contains("://") {
            return Err(format!("{address} is neither a folder nor an address as s3://bucket/path").into());
        }
        Ok(Self(Arc::new(Place::Folder(Folder::open(address)?))))
    }

    /// Path of an object, of parts in which any character may stand.
    pub(crate) fn path<'a>(&self, parts: impl IntoIterator<Item = &'a str>) -> Path {
        let root = match &*self.0 {
            Place::Folder(_) => Path::default(),
            Place::Store(_, prefix) => prefix.clone(),
        };
        parts.into_iter().fold(root, |path, part| path.join(part))
    }

    /// Creates an object, whole or not at all. False: there is one of this path, which stays as it is.
    pub(crate) async fn create(&self, path: &Path, object: Bytes) -> Result<bool, BoxError> {
        match &*self.0 {
            Place::Folder(folder) => folder.create(path, object).await,
            Place::Store(store, _) => {
                match store.put_opts(path, PutPayload::from(object), PutMode::Create.into()).await {
                    Ok(_) => Ok(true),
                    Err(Error::AlreadyExists { .. }) => Ok(false),
                    Err(error) => Err(error.into()),
                }
            }
        }
    }

    /// Puts an object, in place of the one of this path if there is one.
    pub(crate) async fn put(&self, path: &Path, object: Bytes) -> Result<(), BoxError> {
        match &*self.0 {
            Place::Folder(folder) => folder.put(path, object).await,
            Place::Store(store, _) => {
                store.put(path, PutPayload::from(object)).await?;
                Ok(())
            }
        }
    }

    /// An object. None: there is none of this path.
    pub(crate) async fn get(&self, path: &Path) -> Result<Option<Bytes>, BoxError> {
        match &*self.0 {
            Place::Folder(folder) => folder.get(path).await,
            Place::Store(store, _) => match store.get(path).await {
                Ok(object) => Ok(Some(object.bytes().await?)),
                Err(Error::NotFound { .. }) => Ok(None),
                Err(error) => Err(error.into()),
            },
        }
    }

    pub(crate) async fn delete(&self, path: &Path) -> Result<(), BoxError> {
        match &*self.0 {
            Place::Folder(folder) => folder.delete(path).await,
            Place::Store(store, _) => Ok(store.delete(path).await?),
        }
    }

    /// Paths of all objects, in their order.
    pub(crate) async fn paths(&self) -> Result<Vec<Path>, BoxError> {
        let mut paths: Vec<Path> = match &*self.0 {
            Place::Folder(folder) => folder.paths().await?,
            Place::Store(store, prefix) => {
                let prefix = Some(prefix).filter(|prefix| !prefix.is_root());
                store.list(prefix).map_ok(|object| object.location).try_collect().await?
            }
        };
        paths.sort();
        Ok(paths)
    }
}

fn s3(bucket: &str) -> Result<AmazonS3, BoxError> {
    let builder = AmazonS3Builder::from_env().with_bucket_name(bucket);
    let mut builder = builder.with_http_connector(Https).with_crypto_provider(Arc::new(Ring));
    let endpoints = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"];
    if let Some(endpoint) = endpoints.iter().find_map(|name| std::env::var(name).ok()) {
        let is_plain = endpoint.starts_with("http://");
        builder = builder.with_endpoint(endpoint).with_allow_http(is_plain);
    }
    Ok(builder.build()?)
}
