//! One query over head and blocks.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    Block, Exemplar, Interval, Labels, Matcher, Metadata, Result, Series,
    head::{Head, Snapshot},
    matcher::{all_values, select},
    series::Merge,
};

/// A query. It sees the same samples however long it lives.
#[derive(Debug)]
pub struct Querier {
    blocks: Vec<Arc<Block>>,
    snapshot: Snapshot,
    head: Arc<Head>,
}

type Selected = Box<dyn Iterator<Item = Result<Series>> + Send>;

impl Querier {
    pub(crate) fn new(blocks: Vec<Arc<Block>>, snapshot: Snapshot, head: Arc<Head>) -> Self {
        Self { blocks, snapshot, head }
    }

    fn blocks(&self, within: Interval) -> impl Iterator<Item = &Arc<Block>> {
        self.blocks.iter().filter(move |block| block.meta().interval().overlaps(within))
    }

    /// The series that fulfil all matchers and have samples near a span of time, by their labels. Chunks are read when
    /// samples are.
    pub fn select(
        &self,
        matchers: &[Matcher],
        within: Interval,
    ) -> Result<impl Iterator<Item = Result<Series>> + Send + use<>> {
        let mut inputs: Vec<Selected> = Vec::new();
        for block in self.blocks(within) {
            inputs.push(Box::new(block.select(matchers, within)?));
        }
        inputs.push(Box::new(self.snapshot.select(matchers, within)?.into_iter().map(Ok)));
        Ok(Merge::new(inputs))
    }

    /// The names of labels of series that fulfil all matchers, ascending.
    pub fn label_names(&self, matchers: &[Matcher], within: Interval) -> Result<Vec<String>> {
        let mut names = BTreeSet::new();
        for block in self.blocks(within) {
            names.extend(block.label_names(matchers)?);
        }
        self.each_of_head(matchers, within, |labels| {
            names.extend(labels.iter().map(|(name, _)| name.to_owned()))
        })?;
        Ok(names.into_iter().collect())
    }

    /// The values of a label among series that fulfil all matchers, ascending.
    pub fn label_values(&self, name: &str, matchers: &[Matcher], within: Interval) -> Result<Vec<String>> {
        let mut values = BTreeSet::new();
        for block in self.blocks(within) {
            values.extend(block.label_values(name, matchers)?);
        }
        if matchers.is_empty() && self.head.span().overlaps(within) {
            values.extend(all_values(&*self.head.index(), name)?);
        } else {
            self.each_of_head(matchers, within, |labels| {
                let value = labels.get(name);
                if !value.is_empty() && !values.contains(value) {
                    values.insert(value.to_owned());
                }
            })?;
        }
        Ok(values.into_iter().collect())
    }

    fn each_of_head(
        &self,
        matchers: &[Matcher],
        within: Interval,
        mut visit: impl FnMut(&Labels),
    ) -> Result<()> {
        if !self.head.span().overlaps(within) {
            return Ok(());
        }
        let index = self.head.index();
        for number in select(&*index, matchers)? {
            index.labels(number).iter().for_each(&mut visit);
        }
        Ok(())
    }

    /// The exemplars of series that fulfil all matchers of one of several selections.
    pub fn exemplars(
        &self,
        selections: &[&[Matcher]],
        within: Interval,
    ) -> Result<Vec<(Labels, Vec<Exemplar>)>> {
        self.head.exemplars(selections, within)
    }

    /// What the metrics of series that fulfil all matchers say of themselves.
    pub fn metadata(&self, matchers: &[Matcher]) -> Result<Vec<(Labels, Arc<Metadata>)>> {
        let index = self.head.index();
        let numbers = select(&*index, matchers)?.into_iter();
        Ok(numbers.filter_map(|number| Some((index.labels(number)?, self.head.metadata(number)?))).collect())
    }
}
