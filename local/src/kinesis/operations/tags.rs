//! Tags, by the operations for streams and by those for any resource.

use crate::kinesis::check::{self, Check};
use crate::kinesis::tags::{MAX_TAGS, Tags};
use crate::kinesis::{Error, Kinesis, request, response};
use crate::timestamp::Millis;

impl Kinesis {
    pub(super) fn add_tags(&mut self, request: request::AddTags<'_>, now: Millis) -> Result<response::Empty, Error> {
        let mut check = Check::default();
        check.required(&request.tags, "tags");
        check.finish()?;
        let name = check::stream(request.stream_name.as_ref(), request.stream_arn.as_ref())?;
        self.stream(name, now)?.tags.add(request.tags.unwrap_or_default())?;
        Ok(response::Empty {})
    }

    pub(super) fn remove_tags(
        &mut self,
        request: request::RemoveTags<'_>,
        now: Millis,
    ) -> Result<response::Empty, Error> {
        let mut check = Check::default();
        check.required(&request.tag_keys, "tagKeys");
        check.finish()?;
        let name = check::stream(request.stream_name.as_ref(), request.stream_arn.as_ref())?;
        self.stream(name, now)?.tags.remove(request.tag_keys.as_deref().unwrap_or_default());
        Ok(response::Empty {})
    }

    pub(super) fn list_tags(
        &mut self,
        request: request::ListTags<'_>,
        now: Millis,
    ) -> Result<response::ListTagsForStream, Error> {
        let most = i64::try_from(MAX_TAGS).unwrap_or(i64::MAX);
        let mut check = Check::default();
        check.range(request.limit, "limit", 1, most);
        check.finish()?;
        let name = check::stream(request.stream_name.as_ref(), request.stream_arn.as_ref())?;
        let limit = usize::try_from(request.limit.unwrap_or(most)).unwrap_or_default();
        let mut rest = self.stream(name, now)?.tags.after(request.exclusive_start_tag_key.as_deref());
        let tags = rest.by_ref().take(limit).map(response::Tag::from).collect();
        Ok(response::ListTagsForStream { tags, has_more_tags: rest.next().is_some() })
    }

    pub(super) fn tag_resource(
        &mut self,
        request: request::TagResource<'_>,
        now: Millis,
    ) -> Result<response::Empty, Error> {
        let mut check = Check::default();
        check.required(&request.resource_arn, "resourceARN");
        check.required(&request.tags, "tags");
        check.finish()?;
        self.tags(request.resource_arn.as_ref(), now)?.add(request.tags.unwrap_or_default())?;
        Ok(response::Empty {})
    }

    pub(super) fn untag_resource(
        &mut self,
        request: request::TagKeys<'_>,
        now: Millis,
    ) -> Result<response::Empty, Error> {
        let mut check = Check::default();
        check.required(&request.resource_arn, "resourceARN");
        check.required(&request.tag_keys, "tagKeys");
        check.finish()?;
        self.tags(request.resource_arn.as_ref(), now)?.remove(request.tag_keys.as_deref().unwrap_or_default());
        Ok(response::Empty {})
    }

    pub(super) fn list_resource_tags(
        &mut self,
        request: request::TagKeys<'_>,
        now: Millis,
    ) -> Result<response::ListTagsForResource, Error> {
        let mut check = Check::default();
        check.required(&request.resource_arn, "resourceARN");
        check.finish()?;
        let tags = self.tags(request.resource_arn.as_ref(), now)?.after(None).map(response::Tag::from).collect();
        Ok(response::ListTagsForResource { tags })
    }

    /// The tags of the stream or the consumer with this ARN.
    fn tags(&mut self, arn: Option<&request::Text<'_>>, now: Millis) -> Result<&mut Tags, Error> {
        let text = arn.map(|arn| &**arn).unwrap_or_default();
        if !text.contains("/consumer/") {
            return Ok(&mut self.stream(check::stream(None, arn)?, now)?.tags);
        }
        let parts = check::consumer_arn(text)?;
        let missing = || Error::no_consumer(text);
        let stream = self.stream(parts.stream, now).map_err(|_| missing())?;
        let consumer = stream.consumers.get_mut(parts.consumer).filter(|found| found.arn(parts.stream) == text);
        Ok(&mut consumer.ok_or_else(missing)?.tags)
    }
}
