"""Which files, trees and entries an analysis runs over: friends, masks, entry lists, generated data."""
