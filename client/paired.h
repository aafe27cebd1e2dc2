// Two measurements of the same documents, document by document: how far apart, and whether that is more than chance.
//
// What is drawn are documents; their tokens hang together. So the error of the difference of two quotients of sums
// (bits per byte) comes from one residual a document, and Student's t with as many degrees of freedom as there are
// documents less one gives interval and p. Pairing takes out what makes a document hard for both.
#ifndef EDITD_CLIENT_PAIRED_H_
#define EDITD_CLIENT_PAIRED_H_

#include <cstddef>
#include <vector>

namespace editd::client {

// Of one document: a sum over it and what that is divided by, of either measurement.
struct DocumentPair {
  double sum[2] = {}, of[2] = {};
};

struct PairedDifference {
  double value[2] = {};   // Sum over sum: bits per byte, or a share. Or means.
  double difference = 0;  // value[1] - value[0]
  // With two documents or more:
  double error = 0;          // Standard error of the difference.
  double low = 0, high = 0;  // 95 % interval.
  double p = 1;              // Of a difference at least so large if there is none, two-sided.
};

// Of quotients of sums over all documents. Nats and bytes give bits per byte with a `unit` of ln 2.
PairedDifference ComparePaired(const std::vector<DocumentPair>& documents, double unit = 1);

// Two values of one question each (1: right, 0: wrong); compared are their means.
struct ValuePair {
  double value[2] = {};
};
PairedDifference CompareMeans(const std::vector<ValuePair>& pairs);

// Student's t: the two-sided p of |t|, and the t whose two-sided p that is.
double StudentP(double t, double degrees);
double StudentT(double p, double degrees);

}  // namespace editd::client

#endif  // EDITD_CLIENT_PAIRED_H_
