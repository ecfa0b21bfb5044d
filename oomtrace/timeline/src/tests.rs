//! Statements about the world, each made of a few events.

mod advice;
mod causes;
mod deaths;
mod doubts;
mod evictions;
mod history;
mod kills;
mod live;
mod messages;
mod order;
mod retain;
mod settle;
mod unknowns;
mod world;
