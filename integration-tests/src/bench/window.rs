//! Deliveries of a producer that puts records without waiting for each.

use std::collections::VecDeque;

use kpl::{Delivery, DeliveryError, Producer};

/// Maximum number of deliveries that are open: about what a service keeps.
pub const WINDOW: usize = 20_000;

/// Open deliveries. The older half is awaited when there are [`WINDOW`].
#[derive(Debug, Default)]
pub struct Window(VecDeque<Delivery>);

impl Window {
    /// Adds a delivery.
    ///
    /// # Errors
    /// A record was not stored.
    pub async fn add(&mut self, delivery: Delivery) -> Result<(), DeliveryError> {
        self.0.push_back(delivery);
        if self.0.len() == WINDOW {
            for delivery in self.0.drain(..WINDOW / 2) {
                delivery.await?;
            }
        }
        Ok(())
    }

    /// Flushes, and awaits the rest.
    ///
    /// # Errors
    /// A record was not stored.
    pub async fn settle(self, producer: &Producer) -> Result<(), DeliveryError> {
        producer.flush().await;
        for delivery in self.0 {
            delivery.await?;
        }
        Ok(())
    }
}
