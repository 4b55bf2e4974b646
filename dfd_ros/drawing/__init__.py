"""Pictures for people: colour maps, sheets of panels, plots."""
